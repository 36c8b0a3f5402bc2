module antiphon/clients/pion

go 1.23
