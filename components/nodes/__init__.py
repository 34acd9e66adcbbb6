"""The nodes of the DAG, one per file. Nothing else in `components` imports TFX."""
