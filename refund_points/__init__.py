"""Refund points (還付ポイント), as planned in September 2015: a till reads the customer's card, and a centre
accumulates points under the card's code.
"""
