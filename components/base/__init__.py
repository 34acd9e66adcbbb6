"""The basis of every other folder: sections of the configuration, errors, files, JSON records, locks, times."""
