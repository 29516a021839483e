"""The encoder's search for tokens that make a smaller file. Rounds of moves by learned proposals need no torch."""
