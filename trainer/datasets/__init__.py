"""Labelled traffic from files: published data sets, and any table with a label."""
