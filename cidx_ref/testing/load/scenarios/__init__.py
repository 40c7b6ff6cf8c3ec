"""The scenarios, for any daemon that has what they need; `all` has every one of them.

locust -f my_locustfile.py      # in which: from cidx_ref.testing.load.scenarios.all import *
"""
