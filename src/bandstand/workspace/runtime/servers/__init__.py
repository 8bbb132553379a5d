"""The servers that the runner starts: the files that each reads, how it is started, and how it is asked for readiness.

Each module has one ``plan_…`` function that returns resources and files, and the probe for its protocol; what a running
gateway tells of itself is read in ``envoy_statistics.py``. Nothing here starts anything. A server that exists elsewhere
is only waited for (``existing.py``): its URL goes straight to the services.
"""
