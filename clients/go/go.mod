module github.com/bulla-sessions/bulla/clients/go

go 1.19
