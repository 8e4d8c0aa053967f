"""Optional extensions that ship with loafer_kit; those for one broker or vendor are in `ext`."""
