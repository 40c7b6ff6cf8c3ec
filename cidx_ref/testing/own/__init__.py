"""What knows this package's daemon and index: fakes, scenarios, mutants and searches.  No API,
but for the pytest plugin `fixtures`."""
