"""Compiles, submits and executes the DAG on Kubeflow Pipelines and Vertex AI."""
