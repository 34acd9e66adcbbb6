"""Options of Apache Beam's runners."""
