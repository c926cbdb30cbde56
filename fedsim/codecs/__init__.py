"""Codecs: how the rows of an answer become bytes; one file each."""
