"""The Information Provision Network (情報提供ネットワークシステム): institutions request information about a person
from each other by codes instead of the individual number. Rules decide each request, and the person can see its record.
"""
