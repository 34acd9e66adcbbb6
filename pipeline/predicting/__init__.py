"""Names the genres of many songs: which songs, in which form the answers are written, and how a batch goes on."""
