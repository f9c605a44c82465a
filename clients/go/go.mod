module bulla

go 1.19
