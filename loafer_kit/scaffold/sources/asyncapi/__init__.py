"""AsyncAPI documents: operations that receive, bindings. JSON Schema is in `sources.payloads`."""
