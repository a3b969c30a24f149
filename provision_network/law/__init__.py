"""The law that the network decides by: its versions, its tables, and what articles 9 and 19 allow."""
