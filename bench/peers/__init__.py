"""The peers: other ways to do the same work, which this pipeline is measured against."""
