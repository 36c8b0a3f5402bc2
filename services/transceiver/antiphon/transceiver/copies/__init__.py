"""Copies of calls in a second region, and the calls of another region's lost cluster that go on here."""
