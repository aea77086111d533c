"""Decide what is sent to which engine, and what is done when one dies: each item has one record."""
