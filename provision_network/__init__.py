"""The Information Provision Network (情報提供ネットワークシステム): institutions ask each other
about a person by tokens, under rules, with a record; and the person can look at the record."""
