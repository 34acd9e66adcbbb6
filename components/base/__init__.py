"""What every other folder stands on: sections of the configuration, errors, files, locks, times."""
