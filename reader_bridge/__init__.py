"""Everything between a chip and a PC/SC client: the interface it is held to, named slots, vpcd, pcscd, the connection
without either, traces.
"""
