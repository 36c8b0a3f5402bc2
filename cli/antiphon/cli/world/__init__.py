"""`antiphon world`: a planning model of people, sites, delays and costs. Needs the extra `world`."""
