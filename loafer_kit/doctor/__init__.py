"""The checks of `loafer-kit doctor`, one module per subject. They print nothing and change nothing."""
