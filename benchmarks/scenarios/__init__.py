"""What is measured: one scenario per file, each answering with a section of Markdown."""
