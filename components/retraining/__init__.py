"""The policy that decides when to retrain, and the history of decisions and runs."""
