"""One file per subcommand: signature, help with examples, one pipeline expression."""
