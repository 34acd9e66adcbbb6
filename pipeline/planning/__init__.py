"""Works out what a run does before it starts."""
