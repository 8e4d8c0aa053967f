"""What `loafer-kit doctor` checks, one module per subject. It prints nothing; the command does."""
