"""From a library of songs to spans of TFRecords."""
