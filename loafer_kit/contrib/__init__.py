"""Extensions that ship with loafer_kit."""
