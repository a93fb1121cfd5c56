"""Messages as bytes: `codec`, by one of the `roads` for each type, and the `envelope` around them.

`json_form` is the same for people and other programs, `round_trip` is what strict systems use.
"""
