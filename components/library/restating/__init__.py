"""Corrects what a span that is complete says about its songs."""
