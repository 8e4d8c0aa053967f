"""Sources of a draft: flags, questions, documents, AWS, plugins. They validate and write nothing."""
