"""Pages for people: report, timeline, comparison."""
