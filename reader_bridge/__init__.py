"""Everything between a chip and a PC/SC client: card interfaces, slots, vpcd, pcscd, in-process connections, traces."""
