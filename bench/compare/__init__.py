"""Measures Pushline beside other servers, each with the same load, and writes a page about it."""
