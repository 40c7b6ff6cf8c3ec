"""The index: what is scanned, how it is cut, stored, verified and searched.  No daemon in here."""
