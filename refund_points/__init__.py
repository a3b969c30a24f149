"""Refund points (還付ポイント), as planned in September 2015: a till that reads a card, a centre that accumulates
points by the card's code.
"""
