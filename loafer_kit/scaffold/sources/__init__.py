"""Sources of a draft: the command line, documents, AWS, plugins. They validate and write nothing."""
