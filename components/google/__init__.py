"""Google Cloud: client, machines, endpoints of Vertex AI."""
