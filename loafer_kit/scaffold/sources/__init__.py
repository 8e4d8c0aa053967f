"""Where specs come from: each source gives a Draft, which validation turns into a spec."""
