"""The basis of every other folder: sections of the configuration, errors, text, files, tables, JSON, locks, times."""
