"""The platform operator (プラットフォーム事業者): verification and user ids for many tenants."""
