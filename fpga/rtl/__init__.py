"""Synthesis and simulation of generated RTL by open-source tools."""
