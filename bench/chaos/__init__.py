"""Breaks a Pushline again and again while messages are sent, and compares what was accepted with what pages got."""
