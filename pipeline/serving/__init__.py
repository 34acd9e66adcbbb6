"""`genre serve`: answers over HTTP with the model that is served, and shows a page to try it."""
