"""The composition root: builds every object of a process once, from leaf to root.

It may import every package of the service, and only the top of the service imports it. No object gets an attribute from
another one later.
"""
