"""What `loafer-kit doctor` looks at, one module for each place where things go wrong."""
