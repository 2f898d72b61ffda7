"""People: their accounts, how they prove who they are, and what they are handed for it."""
